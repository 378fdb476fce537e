export { canonicalBytes, canonicalize, canonicalSize, JSON_DEPTH_MAX } from "./canonicalize.ts";
export { deepFreeze, fixClass, notMade, refuseDerived } from "./deep-freeze.ts";
export { frozenCopy } from "./frozen-copy.ts";
export { type JsonLimits, parseCanonicalJson, parseStrictJson } from "./parse.ts";
export { keptForm } from "./kept-form.ts";
