export { parseBundle, writeBundleZip } from "./bundle-file.ts";
export { readNamed } from "./read-named.ts";
export { readReleaseSources } from "./release-receipt.ts";
export { type AuditOptions, type AuditReport, openTrusted, verifyAudit } from "./verify-audit.ts";
export { parseTrustRoot } from "./trust-root.ts";
export { type PackLine, type PackReport, verifyToolResult } from "./tool-pack.ts";
export { type VerifyOptions, verifyBundle } from "./verify-bundle.ts";
