export { canonicalBytes, canonicalize, JSON_DEPTH_MAX } from "./canonicalize.ts";
export { type JsonLimits, parseCanonicalJson, parseStrictJson } from "./parse.ts";
