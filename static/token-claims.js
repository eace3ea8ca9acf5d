// Reads what a token says of itself: when it ends, what it grants. Without verifying it; only the
// hub can. No DOM.

const DETAIL_TYPE = "https://mercure.rocks/authorization-detail";

/** What a bearer token may consist of (RFC 6750, section 2.1). Anything else cannot be sent. */
const BEARER = /^[A-Za-z0-9._~+/-]+=*$/;

/** The latest moment that a Date can hold, in ms since 1970. */
const LATEST = 8.64e15;

/** @param {string} text */
export function isBearerToken(text) {
  return BEARER.test(text);
}

/** The token in a fragment `#token=…`; null if there is none. */
export function tokenInFragment(hash) {
  return new URLSearchParams(hash.replace(/^#/, "")).get("token");
}

/**
 * The claims as `{ expiresAt, publish, subscribe }`, or null for what is not a JWT. `expiresAt` is in
 * ms since 1970, null where the token does not say; the grants are lists of topic matchers in words.
 * @param {string} token
 */
export function readClaims(token) {
  const claims = payloadOf(token);
  if (!claims) return null;
  const details = listOf(claims.authorization_details).filter((detail) => detail?.type === DETAIL_TYPE);
  const granted = (action) => [
    ...details
      .filter(({ actions }) => listOf(actions).includes(action))
      .flatMap(({ topics }) => listOf(topics).map(matcherInWords)),
    // Of the protocol's earlier versions, which a hub may take, too.
    ...listOf(claims.mercure?.[action]).filter((topic) => typeof topic === "string").map((topic) => `${topic} (mercure claim)`),
  ];
  return {
    expiresAt: Number.isFinite(claims.exp) && Math.abs(claims.exp) * 1000 <= LATEST ? claims.exp * 1000 : null,
    publish: granted("publish"),
    subscribe: granted("subscribe"),
  };
}

function payloadOf(token) {
  const parts = token.split(".");
  if (parts.length !== 3) return null;
  try {
    const binary = atob(parts[1].replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return typeof claims === "object" && claims !== null && !Array.isArray(claims) ? claims : null;
  } catch {
    return null;
  }
}

function listOf(value) {
  return Array.isArray(value) ? value : [];
}

function matcherInWords(matcher) {
  const { match, match_type: type = "exact" } = matcher ?? {};
  if (typeof match !== "string") return "(unreadable)";
  if (match === "*") return "* (every topic)";
  return type === "exact" ? match : `${match} (${type})`;
}
