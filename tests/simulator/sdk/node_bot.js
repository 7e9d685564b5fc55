// qq-guild-bot, changed in nothing but the address: answers every message it gets.
const fs = require('fs');
const Module = require('module');
const path = require('path');

const root = path.join(process.env.SIM_SDKS, 'node_modules', 'qq-guild-bot');
const main = require.resolve(root);
const bundle = fs
  .readFileSync(main, 'utf8')
  .replaceAll('https://sandbox.api.sgroup.qq.com', process.env.SIM_BASE)
  .replaceAll('https://api.sgroup.qq.com', process.env.SIM_BASE);
const library = new Module(main, module);
library.filename = main;
library.paths = Module._nodeModulePaths(path.dirname(main));
library._compile(bundle, main);

const { createOpenAPI, createWebsocket } = library.exports;
const config = {
  appID: process.env.SIM_APP,
  token: process.env.SIM_SECRET,
  intents: ['PUBLIC_GUILD_MESSAGES'],
  sandbox: false,
};
const api = createOpenAPI(config);
createWebsocket(config).on('PUBLIC_GUILD_MESSAGES', ({ msg }) => {
  api.messageApi
    .postMessage(msg.channel_id, { content: 'pong', msg_id: msg.id })
    .catch((error) => console.log('refused:', JSON.stringify(error)));
});
