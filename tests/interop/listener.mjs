// Prints what ExpOps' listener SDK delivers, one JSON line an event, until standard input ends.
//
//   node listener.mjs firestore <gcp project> <emulator's host:port> <project> <probe path>…
//   node listener.mjs local - <ExpOps server's URL> <project> <probe path>…
//
// EXPOPS_TEST_NODE is the folder in which npm installed the packages. The mode `local` also needs
// EXPOPS_SQLITE_DIR, the workspace, for the SDK.
import { createRequire } from "node:module";

const require = createRequire(`${process.env.EXPOPS_TEST_NODE}/`);
const { FirestoreLiveBackend, LocalSseLiveBackend, encodeProbePathForFirestore } = require("@expops/listener-sdk");

// The SDK's browser half asks the SDK's server half, in one process and without a port between them.
class EventSourceOfThisProcess extends EventTarget {
  constructor(url) {
    super();
    this.ended = new AbortController();
    this.read(new URL(url, "http://localhost")).catch((error) => this.onerror?.(error));
  }

  async read(url) {
    const { createLiveDataSseResponse } = require("@expops/listener-sdk/server");
    const projectId = decodeURIComponent(url.pathname.split("/").at(-1));
    const answer = createLiveDataSseResponse(new Request(url, { signal: this.ended.signal }), { projectId });
    if (!answer.ok) throw new Error(await answer.text());
    let text = "";
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (text + part).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) this.deliver(block);
    }
  }

  deliver(block) {
    const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
    if (fields.event === "error" || fields.event === "listener.unavailable") print(fields.event, { data: fields.data });
    else if (fields.event) this.dispatchEvent(new MessageEvent(fields.event, { data: fields.data }));
  }

  close() {
    this.ended.abort();
  }
}

function print(kind, event) {
  process.stdout.write(`${JSON.stringify({ at: Date.now() / 1000, kind, ...event })}\n`);
}

function connect(mode, gcpProject, address) {
  if (mode === "local") {
    globalThis.EventSource = EventSourceOfThisProcess;
    return { backend: new LocalSseLiveBackend(address) };
  }
  const { initializeApp } = require("firebase/app");
  const { connectFirestoreEmulator, getFirestore } = require("firebase/firestore");
  const app = initializeApp({ projectId: gcpProject, apiKey: "fake", appId: "x" });
  const backend = new FirestoreLiveBackend(app);
  const [host, port] = address.split(":");
  connectFirestoreEmulator(getFirestore(app), host, Number(port));
  return { backend, database: getFirestore(app) };
}

const [mode, gcpProject, address, project, ...paths] = process.argv.slice(2);
const { backend, database } = connect(mode, gcpProject, address);
const known = new Set();

function failed(what) {
  return (error) => print("error", { what, data: String(error) });
}

function follow(run) {
  known.add(run);
  backend.subscribeRunStatus(project, run, (data) => print("status", { run, data }), failed(`status of ${run}`));
  for (const path of paths) {
    const got = (data) => print("metrics", { run, path, data });
    backend.subscribeProbeMetrics(project, run, path, got, failed(`metrics of ${path}`));
    if (database) tellWhenSubscribed(run, path);
  }
}

// The SDK is silent while a document does not exist. The client asks the server once for both of us.
function tellWhenSubscribed(run, path) {
  const { doc, onSnapshot } = require("firebase/firestore");
  const place = ["mlops_projects", project, "metric", run, "probes_by_path", encodeProbePathForFirestore(path)];
  const stop = onSnapshot(doc(database, ...place), () => {
    print("subscribed", { run, path });
    stop();
  });
}

backend.subscribeRunsList(
  project,
  (data) => {
    print("runs", { data });
    data.runs.filter((run) => !known.has(run)).forEach(follow);
  },
  failed("runs"),
);
process.stdin.on("end", () => process.exit(0)).resume();
