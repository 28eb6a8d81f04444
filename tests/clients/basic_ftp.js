// One job for npm's basic-ftp, as JSON on standard input: {options, verb, paths}.
const { Client } = require(`${process.env.NODE_MODULES}/basic-ftp`);
const { options, verb, paths } = JSON.parse(require("fs").readFileSync(0));

// Paths of the server come with every byte a character; trees hold local names, which are UTF-8.
const text = (bytes) => Buffer.from(bytes, "latin1").toString();
const verbs = {
  put: (ftp, local, remote) => ftp.uploadFrom(local, remote),
  get: (ftp, remote, local) => ftp.downloadTo(local, remote),
  names: async (ftp, folder) => (await ftp.list(folder)).map((entry) => entry.name),
  putTree: (ftp, local, remote) => ftp.uploadFromDir(local, text(remote)),
  getTree: (ftp, remote, local) => ftp.downloadToDir(local, text(remote)),
};

(async () => {
  const ftp = new Client(20000);
  ftp.ftp.encoding = verb.endsWith("Tree") ? "utf8" : "latin1";
  await ftp.access({ ...options, secureOptions: { rejectUnauthorized: false } });
  const result = await verbs[verb](ftp, ...paths);
  ftp.close();
  if (Array.isArray(result)) console.log(JSON.stringify(result));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
