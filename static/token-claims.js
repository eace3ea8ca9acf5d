// Reads the claims of a token: when it expires and what it grants. Does not verify the token; only the hub
// can. No DOM.

const DETAIL_TYPE = "https://mercure.rocks/authorization-detail";

/** The syntax of a bearer token (RFC 6750, section 2.1). Nothing else can be sent. */
const BEARER = /^[A-Za-z0-9._~+/-]+=*$/;

/** The latest time that a Date can hold, in ms since 1970. */
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
 * Returns the claims as `{ expiresAt, publish, subscribe }`, or null if the token is not a JWT. `expiresAt`
 * is in ms since 1970, or null if there is no valid `exp`. The grants are lists of topic matchers in words.
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
    // The claim of older Mercure versions, which a hub may accept, too.
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
