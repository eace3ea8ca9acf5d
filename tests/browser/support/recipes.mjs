// How to start each proxy with its recipe, the file in deploy/ that users copy. Only addresses, ports, paths
// and properties of the machine are changed in the file's text.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";

const DEPLOY = resolve(import.meta.dirname, "../../../deploy");
const IS_ROOT = process.getuid() === 0;

/** Settings that keep nginx's temporary files in its own folder. The default folders require root. */
const NGINX_FOLDERS = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
  .map((use) => `${use}_temp_path ${use};`)
  .join(" ");

/** The workers of a root's nginx would be another user, who cannot enter that folder. */
const NGINX_USER = process.getuid?.() === 0 ? "user root; " : "";

/**
 * @typedef {object} Surroundings what a recipe is adapted to
 * @property {number} port the proxy's port
 * @property {number[]} upstreams the ports of the servers
 * @property {string} folder for the proxy's files, including the certificate
 *
 * @typedef {object} Recipe
 * @property {string} proxy its name, as printed
 * @property {string} program
 * @property {string} file its name in deploy/
 * @property {"http" | "https"} scheme
 * @property {boolean} [closesLate] whether it closes the stream of a disconnected client only when a
 * heartbeat fails
 * @property {(given: Surroundings) => [string, string][]} changes pairs of a text and its replacement
 * @property {string} timeout the text that sets the response timeout to 60 s
 * @property {(given: Surroundings) => Record<string, string>} [files] additional files that include the
 * recipe
 * @property {(given: Surroundings) => string[]} options command-line options of the program
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
    // As the comment in the recipe says.
    ["listen 443 ssl http2;", `listen 127.0.0.1:${port} ssl${nginxHasHttp2Directive() ? "; http2 on;" : " http2;"}`],
    ["/etc/ssl/example.org.pem", join(folder, "certificate.pem")],
    ["/etc/ssl/example.org.key", join(folder, "key.pem")],
  ],
  files: () => ({
    "nginx.conf": `${NGINX_USER}events {}\nhttp { access_log off; gzip on; ${NGINX_FOLDERS} include nginx-site.conf; }\n`,
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
    // Do not use Caddy's ports 2019 and 80, which may be in use.
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

/** The recipes for one server with TLS. */
export const RECIPES = [NGINX, HAPROXY, CADDY, APACHE];

/** The text of the recipe's file. */
export function read({ file }) {
  return readFileSync(join(DEPLOY, file), "utf8");
}

/** Replaces each text, and fails if one is missing. */
export function substitute(text, changes) {
  return changes.reduce((changed, [from, to]) => {
    assert.ok(changed.includes(from), `there is no "${from}" in:\n${changed}`);
    return changed.replaceAll(from, () => to);
  }, text);
}

/** Reduces the response timeout of the recipe to one second. */
export function withShortTimeout(text, { timeout }) {
  return substitute(text, [[timeout, timeout.replace("60", "1")]]);
}

/**
 * Makes the change that a recipe's comments describe for a list in cors.allowed_origins: removes the lines
 * below the first comment, and uncomments those below the second.
 */
export function withListedOrigins(text) {
  const parts = /^(.*# With cors\.allowed_origins = \["\*"\]:\n)(?:[^#]*?)( *\t*# With a list of origins, [^\n]*\n)((?:[ \t]*# [^\n]*\n)+)(.*)$/s.exec(text);
  assert.ok(parts, `there is no choice of origins in:\n${text}`);
  const [, before, comment, lines, after] = parts;
  return before + comment + lines.replaceAll(/^([ \t]*)# /gm, "$1") + after;
}

/** The path of a program, or null. Debian has servers in /usr/sbin, which may not be in PATH. */
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

/** Whether nginx has the directive `http2 on;`, which was added in version 1.25.1. */
function nginxHasHttp2Directive() {
  // nginx prints its version on standard error.
  const said = execFileSync("sh", ["-c", '"$0" -v 2>&1', locate("nginx")], { encoding: "utf8" });
  const [major, minor, patch] = /nginx\/(\d+)\.(\d+)\.(\d+)/.exec(said).slice(1).map(Number);
  return major * 1e6 + minor * 1e3 + patch >= 1_025_001;
}

/** A configuration like Debian's, with the modules that the recipe requires. */
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

/** The files that load these modules and their dependencies, as `a2enmod` would find them. */
function apacheModules(names) {
  const path = (name) => `/etc/apache2/mods-available/${name}.load`;
  const found = names.map(path).filter((file) => existsSync(file));
  assert.equal(found.length, names.length, `not all of these are modules of Apache: ${names.join(" ")}`);
  const dependencies = found.flatMap((file) => /^# Depends: (.*)$/m.exec(readFileSync(file, "utf8"))?.[1].split(" ") ?? []);
  return dependencies.length > 0 ? [...apacheModules(dependencies), ...found] : found;
}
