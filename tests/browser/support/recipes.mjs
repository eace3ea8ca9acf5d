// How each proxy is started with its recipe, the file in deploy/ that users copy. Only addresses, ports, paths and
// what concerns the machine is changed in the file's text.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";

const DEPLOY = resolve(import.meta.dirname, "../../../deploy");
const IS_ROOT = process.getuid() === 0;

/** What nginx writes outside of its own folder otherwise, which requires root. */
const NGINX_FOLDERS = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
  .map((use) => `${use}_temp_path ${use};`)
  .join(" ");

/**
 * @typedef {object} Surroundings what a recipe is adapted to
 * @property {number} port where the proxy listens
 * @property {number[]} upstreams the ports of the servers
 * @property {string} folder for the proxy's files; the certificate is there, too
 *
 * @typedef {object} Recipe
 * @property {string} proxy its name, for a reader
 * @property {string} program
 * @property {string} file its name in deploy/
 * @property {"http" | "https"} scheme
 * @property {boolean} [closesLate] whether it closes a stream whose client is gone only when a heartbeat fails
 * @property {(given: Surroundings) => [string, string][]} changes what is replaced in the text, and by what
 * @property {string} timeout what says that it waits 60 s for an answer
 * @property {(given: Surroundings) => Record<string, string>} [files] those that the recipe is a part of
 * @property {(given: Surroundings) => string[]} options of the program
 */

/** @type {Recipe} */
const NGINX = {
  proxy: "nginx",
  program: "nginx",
  file: "nginx-site.conf",
  scheme: "https",
  timeout: "proxy_read_timeout 60s",
  changes: ({ port, upstreams, folder }) => [
    ["127.0.0.1:3000", `127.0.0.1:${upstreams[0]}`],
    ["server_name example.org", "server_name localhost"],
    // As the comment in the file says.
    ["listen 443 ssl http2;", `listen 127.0.0.1:${port} ssl${nginxHasHttp2Directive() ? "; http2 on;" : " http2;"}`],
    ["/etc/ssl/example.org.pem", join(folder, "certificate.pem")],
    ["/etc/ssl/example.org.key", join(folder, "key.pem")],
  ],
  files: () => ({
    "nginx.conf": `events {}\nhttp { access_log off; gzip on; ${NGINX_FOLDERS} include nginx-site.conf; }\n`,
  }),
  options: ({ folder }) => nginxOptions(folder, "nginx.conf"),
};

/** @type {Recipe} */
export const CLUSTER = {
  proxy: "nginx of compose.yaml",
  program: "nginx",
  file: "nginx.conf",
  scheme: "http",
  timeout: "proxy_read_timeout 60s",
  changes: ({ port, upstreams }) => [
    ...upstreams.map((upstream, at) => /** @type {[string, string]} */ ([`node${at + 1}:3000`, `127.0.0.1:${upstream}`])),
    ["listen 80;", `listen 127.0.0.1:${port};`],
    ["access_log off;", `access_log off; ${NGINX_FOLDERS}`],
    ["worker_rlimit_nofile 65536;", ""],
  ],
  options: ({ folder }) => nginxOptions(folder, "nginx.conf"),
};

/** @type {Recipe} */
const HAPROXY = {
  proxy: "HAProxy",
  program: "haproxy",
  file: "haproxy.cfg",
  scheme: "https",
  timeout: "timeout server 60s",
  changes: ({ port, upstreams, folder }) => [
    ["setenv SERVER 127.0.0.1:3000", `setenv SERVER 127.0.0.1:${upstreams[0]}`],
    ["/etc/haproxy/example.org.pem", join(folder, "both.pem")],
    ["bind :443", `bind 127.0.0.1:${port}`],
    ["user haproxy\n", "\n"],
    ["group haproxy\n", "\n"],
  ],
  options: ({ folder }) => ["-db", "-f", join(folder, "haproxy.cfg")],
};

/** @type {Recipe} */
const CADDY = {
  proxy: "Caddy",
  program: "caddy",
  file: "Caddyfile",
  scheme: "https",
  timeout: "response_header_timeout 60s",
  changes: ({ port, upstreams, folder }) => [
    ["reverse_proxy 127.0.0.1:3000", `reverse_proxy 127.0.0.1:${upstreams[0]}`],
    ["\nexample.org {", `\nhttps://localhost:${port} {`],
    ["/etc/ssl/example.org.pem", join(folder, "certificate.pem")],
    ["/etc/ssl/example.org.key", join(folder, "key.pem")],
    // Without its ports 2019 and 80, which may be in use.
    ["grace_period", "admin off\n\tauto_https disable_redirects\n\tgrace_period"],
  ],
  options: ({ folder }) => ["run", "--adapter", "caddyfile", "--config", join(folder, "Caddyfile")],
};

/** @type {Recipe} */
const APACHE = {
  proxy: "Apache",
  program: "apache2",
  file: "apache.conf",
  scheme: "https",
  timeout: " timeout=60",
  closesLate: true,
  changes: ({ port, upstreams, folder }) => [
    ["http://127.0.0.1:3000", `http://127.0.0.1:${upstreams[0]}`],
    ["Define BROADCASTER_HOST example.org", "Define BROADCASTER_HOST localhost"],
    ["/etc/ssl/example.org.pem", join(folder, "certificate.pem")],
    ["/etc/ssl/example.org.key", join(folder, "key.pem")],
    ["<VirtualHost *:443>", `<VirtualHost *:${port}>`],
  ],
  files: ({ port, folder }) => ({ "apache2.conf": apacheBase(port, folder) }),
  options: ({ folder }) => ["-DFOREGROUND", "-f", join(folder, "apache2.conf")],
};

/** Those for one server, with TLS. */
export const RECIPES = [NGINX, HAPROXY, CADDY, APACHE];

/** The recipe's file as it is delivered. */
export function read({ file }) {
  return readFileSync(join(DEPLOY, file), "utf8");
}

/** Replaces each of the texts, which must be there. */
export function substitute(text, changes) {
  return changes.reduce((changed, [from, to]) => {
    assert.ok(changed.includes(from), `there is no "${from}" in:\n${changed}`);
    return changed.replaceAll(from, () => to);
  }, text);
}

/** Makes the recipe wait only a second for an answer. */
export function withShortTimeout(text, { timeout }) {
  return substitute(text, [[timeout, timeout.replace("60", "1")]]);
}

/**
 * Makes the change that a recipe's comments ask for if cors.allowed_origins is a list: the lines below the one
 * comment go, and those below the other are no comments any more.
 */
export function withListedOrigins(text) {
  const parts = /^(.*# With cors\.allowed_origins = \["\*"\]:\n)(?:[^#]*?)( *\t*# With a list of origins, [^\n]*\n)((?:[ \t]*# [^\n]*\n)+)(.*)$/s.exec(text);
  assert.ok(parts, `there is no choice of origins in:\n${text}`);
  const [, before, comment, lines, after] = parts;
  return before + comment + lines.replaceAll(/^([ \t]*)# /gm, "$1") + after;
}

/** Where the program of this name is, or null. Debian has servers in /usr/sbin, which may not be in PATH. */
export function locate(program) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin"];
  const isProgram = (path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  };
  return folders.map((folder) => join(folder, program)).find(isProgram) ?? null;
}

function nginxOptions(folder, config) {
  return ["-p", folder, "-e", "stderr", "-c", config, "-g", "daemon off; pid nginx.pid;"];
}

/** The directive `http2 on;` came with nginx 1.25.1. */
function nginxHasHttp2Directive() {
  // It prints its version on its standard error.
  const said = execFileSync("sh", ["-c", '"$0" -v 2>&1', locate("nginx")], { encoding: "utf8" });
  const [major, minor, patch] = /nginx\/(\d+)\.(\d+)\.(\d+)/.exec(said).slice(1).map(Number);
  return major * 1e6 + minor * 1e3 + patch >= 1_025_001;
}

/** A configuration like Debian's own, with the modules that the recipe says it requires. */
function apacheBase(port, folder) {
  const [, named] = /a2enmod ([a-z0-9_ ]+)\n/.exec(read(APACHE));
  const user = IS_ROOT ? "User www-data\nGroup www-data\n" : "";
  return `ServerRoot ${folder}
DefaultRuntimeDir ${folder}
PidFile ${folder}/apache2.pid
ErrorLog "|/bin/cat"
ServerName localhost
${user}Listen 127.0.0.1:${port}
IncludeOptional /etc/apache2/mods-enabled/*.load
IncludeOptional /etc/apache2/mods-enabled/*.conf
${apacheModules(named.split(" "))
  .map((path) => `Include ${path}\n`)
  .join("")}<Directory />
    Require all denied
</Directory>
Include ${folder}/apache.conf
`;
}

/** The files that load these modules, and those that they depend on, as a2enmod would find them. */
function apacheModules(names) {
  const path = (name) => `/etc/apache2/mods-available/${name}.load`;
  const found = names.map(path).filter((file) => existsSync(file));
  assert.equal(found.length, names.length, `not all of these are modules of Apache: ${names.join(" ")}`);
  const dependencies = found.flatMap((file) => /^# Depends: (.*)$/m.exec(readFileSync(file, "utf8"))?.[1].split(" ") ?? []);
  return dependencies.length > 0 ? [...apacheModules(dependencies), ...found] : found;
}
