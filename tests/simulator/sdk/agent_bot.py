"""qqbot-agent-sdk, changed in nothing but the address: answers every message it gets."""

import asyncio
import os

# The SDK reads these when it is imported.
os.environ["QQ_API_BASE"] = os.environ["SIM_BASE"]
os.environ["QQ_TOKEN_URL"] = os.environ["SIM_BASE"] + "/app/getAppAccessToken"

import httpx
from qqbot_agent_sdk import QQApiClient, QQWebSocket, WSCallbacks


async def main():
    api = QQApiClient(os.environ["SIM_APP"], os.environ["SIM_SECRET"])
    session = [None, None]

    async def on_message(event, d):
        if "group_openid" in d:
            place = ("group", d["group_openid"])
        elif "channel_id" in d:
            place = ("guild", d["channel_id"])
        else:
            place = ("c2c", d["author"]["user_openid"])
        await api.send_text(*place, "pong", reply_to=d["id"])

    def set_session(name, seq):
        session[:] = [name, seq]

    callbacks = WSCallbacks(
        on_message_event=on_message,
        on_connected=lambda: None,
        on_disconnected=lambda: None,
        on_fatal_error=lambda code, message: print("fatal:", code, message, flush=True),
        get_token=api.ensure_token_sync,
        get_session=lambda: tuple(session),
        set_session=set_session,
        set_heartbeat_interval=lambda seconds: None,
        clear_token=api.clear_token,
        fail_pending=lambda reason: None,
        get_gateway_url=api.get_gateway_url_sync,
    )
    async with httpx.AsyncClient(trust_env=False) as http:
        api.setup(http)
        url = await asyncio.to_thread(api.get_gateway_url_sync)
        QQWebSocket(callbacks).start(url, asyncio.get_running_loop())
        await asyncio.Event().wait()


asyncio.run(main())
