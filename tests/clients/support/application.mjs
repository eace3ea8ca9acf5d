// An application that uses a library: a program, or a page. It prints a JSON line for each thing that
// it sees.

import { spawn } from "node:child_process";

export class Application {
  /** @type {{ saw: "open" | "event" | "error", type?: string, data?: string, id?: string, problem?: string, text?: string }[]} */
  lines = [];
  /** All other output, and the errors that it saw. */
  log = "";
  #stop;

  /** @param {import("./libraries.mjs").Library} library */
  static async start(library, hub, pages) {
    const application = new Application();
    if (library.page) {
      const page = `${library.page}hub=${encodeURIComponent(hub)}`;
      application.#stop = await pages.open(page, (line) => application.#read(line));
    } else {
      application.#spawn(library.command, hub, library.env);
    }
    return application;
  }

  events() {
    return this.lines.filter(({ saw }) => saw === "event");
  }

  stop() {
    return this.#stop();
  }

  #spawn([program, ...given], hub, env) {
    const child = spawn(program, [...given, hub], { env: { ...process.env, ...env }, stdio: "pipe" });
    // The program exits when its input ends, also if this process is killed.
    this.#stop = () => child.stdin.destroy();
    child.on("error", (error) => (this.log += `${error}\n`));
    child.on("exit", (code) => (this.log += `exit code ${code}\n`));
    child.stderr.setEncoding("utf8").on("data", (text) => (this.log += text));
    let unfinished = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      const lines = (unfinished + text).split("\n");
      unfinished = lines.pop();
      for (const line of lines) this.#read(line);
    });
  }

  #read(line) {
    if (!line.startsWith('{"saw"')) {
      this.log += `${line}\n`;
      return;
    }
    const seen = JSON.parse(line);
    this.lines.push(seen);
    if (seen.saw === "error") this.log += `error: ${seen.text}\n`;
  }
}
