import {
  type ComplianceBundle,
  formats,
  isSovereignError,
  parseCanonicalJson,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { ZipProblem } from "./inflate.ts";
import { readZip, writeZip } from "./zip.ts";

/** The one file of a zipped bundle. */
const BUNDLE_NAME = "compliance_bundle.json";
/** How large a bundle may be, unpacked: a little less than what one string can hold. */
export const BUNDLE_BYTES_MAX = 500 * 1024 * 1024;

/** Zip a bundle: the same bytes each time. */
export function writeBundleZip(bundle: Uint8Array): Uint8Array {
  return writeZip(BUNDLE_NAME, bundle);
}

/**
 * Read a bundle file, canonical JSON or a zip of it. Its shape is checked; nothing is verified.
 *
 * @param bytes untrusted
 * @throws ERR_BUNDLE_MALFORMED when it is no bundle at all
 */
export function parseBundle(bytes: Uint8Array): ComplianceBundle {
  const json = isZip(bytes) ? unzip(bytes) : bytes;
  try {
    const value = parseCanonicalJson(json, { bytesMax: BUNDLE_BYTES_MAX });
    return parseFormat(formats.complianceBundle, value, "bundle");
  } catch (cause) {
    if (!isSovereignError(cause)) throw cause;
    throw malformed(cause.message, cause);
  }
}

function isZip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1] === 0x4b;
}

function unzip(bytes: Uint8Array): Uint8Array {
  try {
    return readZip(bytes, BUNDLE_NAME, BUNDLE_BYTES_MAX);
  } catch (cause) {
    if (!(cause instanceof ZipProblem)) throw cause;
    const expected = `expected ${BUNDLE_NAME} alone, stored or deflated`;
    throw malformed(`a zip file with ${cause.message}; ${expected}.`, cause);
  }
}

function malformed(found: string, cause?: unknown): SovereignError {
  const text = `Not a compliance bundle: ${found}`;
  return new SovereignError("ERR_BUNDLE_MALFORMED", text, {}, cause);
}
