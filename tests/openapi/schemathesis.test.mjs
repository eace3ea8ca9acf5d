// Sends requests that schemathesis generates from the served OpenAPI document, and checks that each response is one
// that the document describes, with a body and headers that conform, and that none has a status above 499.
//
// OPENAPI_SEED repeats a run. Without OPENAPI_SECONDS, schemathesis.toml says how many requests are generated. With it,
// they are generated for that time.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { Broadcaster } from "../browser/support/broadcaster.mjs";
import { eventually } from "../browser/support/eventually.mjs";
import { Subscriber } from "../clients/support/subscriber.mjs";

const SCHEMATHESIS = join(import.meta.dirname, ".venv/bin/schemathesis");
const SEED = process.env.OPENAPI_SEED ?? String(Math.floor(Math.random() * 2 ** 32));
const SECONDS = process.env.OPENAPI_SECONDS;
/** Schemathesis is killed after this time. A run without OPENAPI_SECONDS takes about 25 s. */
const LIMIT_MS = (Number(SECONDS ?? 60) + 60) * 1000;

const skip = !existsSync(SCHEMATHESIS) && "schemathesis is not installed: scripts/need-schemathesis says why";

describe("the OpenAPI document", { skip }, () => {
  let server;
  let subscriber;

  before(async () => {
    // A stream does not end, so a client that reads it to its end would wait forever. Here one subscriber holds the
    // only permit. Each generated subscription is then parsed, authorized and answered with a stream that contains only
    // a `retry:` and a checkpoint, and ends.
    server = await Broadcaster.start({
      server: { max_subscribers: 1 },
      hub: { subscriptions: true },
      ticker: { enabled: false },
    });
    subscriber = await Subscriber.open(`${server.address}/.well-known/mercure?match=urn:held`);
  });
  after(async () => {
    subscriber?.close();
    await server?.discard();
  });

  it("describes what the server answers", async () => {
    const printed = () => /^publish token: (\S+)\n/m.exec(server.said);
    const [, token] = await eventually("a token", printed, () => server.said);

    const { code, output } = await schemathesis(
      ["run", `${server.address}/openapi.yaml`, "--header", `Authorization: Bearer ${token}`],
      ["--request-timeout", "10", "--seed", SEED, "--no-color"],
      SECONDS ? ["--max-time", SECONDS] : [],
    );

    assert.equal(code, 0, `OPENAPI_SEED=${SEED}\n${output}`);
    const { subscribers } = await server.status();
    assert.deepEqual(subscribers, { live: 1, catching_up: 0, max: 1 }, "the permit was held all the time");
  });
});

/** Runs schemathesis, and returns its exit code and its output. */
async function schemathesis(...args) {
  const child = spawn(SCHEMATHESIS, args.flat(), {
    // Here it finds schemathesis.toml.
    cwd: import.meta.dirname,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1", PYTHONPATH: import.meta.dirname },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: LIMIT_MS,
    killSignal: "SIGKILL",
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const [code, signal] = await once(child, "close");
  if (signal) output += `\nended by ${signal}, perhaps because it took longer than ${LIMIT_MS / 1000} s`;
  return { code, output };
}
