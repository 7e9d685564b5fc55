"""qq-botpy, changed in nothing but the address: answers every message it gets."""

import os
import time
from urllib.parse import urlparse

import aiohttp
import botpy
from botpy.http import Route
from botpy.robot import Token

BASE = urlparse(os.environ["SIM_BASE"])
Route.SCHEME = BASE.scheme
Route.DOMAIN = Route.SANDBOX_DOMAIN = BASE.netloc


async def update_access_token(self):
    """The library's own, with another address in place of its literal."""
    async with aiohttp.ClientSession() as session:
        body = {"appId": self.app_id, "clientSecret": self.secret}
        url = f"{BASE.geturl()}/app/getAppAccessToken"
        async with session.post(url=url, json=body) as response:
            data = await response.json()
    botpy.logging.get_logger().info("expires_in " + data["expires_in"])
    self.access_token = data["access_token"]
    self.expires_in = int(data["expires_in"]) + int(time.time())


Token.update_access_token = update_access_token


class Bot(botpy.Client):
    async def on_group_at_message_create(self, message):
        await message.reply(content="pong")

    async def on_c2c_message_create(self, message):
        await message.reply(content="pong")

    async def on_at_message_create(self, message):
        await message.reply(content="pong")


intents = botpy.Intents(public_messages=True, public_guild_messages=True)
Bot(intents=intents, ext_handlers=False).run(
    appid=os.environ["SIM_APP"], secret=os.environ["SIM_SECRET"]
)
