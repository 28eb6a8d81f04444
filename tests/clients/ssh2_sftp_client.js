// One job for npm's ssh2-sftp-client, as JSON on standard input: {options, verb, paths}.
const Client = require(`${process.env.NODE_MODULES}/ssh2-sftp-client`);
const { options, verb, paths } = JSON.parse(require("fs").readFileSync(0));

// Paths of the server come with every byte a character.
const text = (bytes) => Buffer.from(bytes, "latin1").toString();
const bytes = (text) => Buffer.from(text).toString("latin1");
const verbs = {
  put: (sftp, local, remote) => sftp.fastPut(local, text(remote)),
  get: (sftp, remote, local) => sftp.fastGet(text(remote), local),
  names: async (sftp, folder) => (await sftp.list(text(folder))).map((entry) => bytes(entry.name)),
  putTree: (sftp, local, remote) => sftp.uploadDir(local, text(remote)),
  getTree: (sftp, remote, local) => sftp.downloadDir(text(remote), local),
};

(async () => {
  const sftp = new Client();
  await sftp.connect({ ...options, username: options.user });
  const result = await verbs[verb](sftp, ...paths);
  await sftp.end();
  if (Array.isArray(result)) console.log(JSON.stringify(result));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
