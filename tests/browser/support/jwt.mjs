// Signs access tokens, as a publisher's application would.

import { createHmac } from "node:crypto";

/** Returns a JWT that is signed with HS256. */
export function sign(header, claims, secret) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${encode(header)}.${encode(claims)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}
