// A Python program that calls methods of a library on request, one after another.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { BOUND_MS } from "../../browser/support/eventually.mjs";
import { python } from "./libraries.mjs";

export class PythonCalls {
  #child;
  #answers;
  #log = "";

  /** @param {string} program below programs/python; its argument is the hub's URL */
  constructor(program, hub) {
    const [command, ...given] = python("", program).command;
    const env = { ...process.env, HUB_SECRET: hub.secret };
    this.#child = spawn(command, [...given, hub.url], { env, stdio: "pipe" });
    this.#child.stderr.setEncoding("utf8").on("data", (text) => (this.#log += text));
    // A program that has failed reads no more input. The missing answer reports the failure.
    this.#child.stdin.on("error", () => {});
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Calls a method with named arguments, and returns what it returns. */
  async call(method, given) {
    this.#child.stdin.write(`${JSON.stringify([method, given])}\n`);
    const tooSlow = setTimeout(() => this.#child.kill(), BOUND_MS);
    const { value, done } = await this.#answers.next();
    clearTimeout(tooSlow);
    if (done) throw new Error(`no answer to ${method} within ${BOUND_MS} ms:\n${this.#log}`);
    const answer = JSON.parse(value);
    if (answer.raised) throw new Error(`${method} raised ${answer.raised}`);
    return answer.returned;
  }

  /** The program exits when its input ends. */
  discard() {
    this.#child.stdin.end();
  }
}
