import {
  type ComplianceBundle,
  formats,
  isSovereignError,
  parseCanonicalJson,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { unzipSync, zipSync } from "fflate";

/** The one file of a zipped bundle. */
const BUNDLE_NAME = "compliance_bundle.json";
/** How large a bundle may be, unpacked. */
export const BUNDLE_BYTES_MAX = 512 * 1024 * 1024;
/** 1980-01-01, the earliest that a zip file can say: the same in every bundle. */
const ZIP_TIME = new Date(1980, 0, 1);

/** Zip a bundle: the same bytes each time. */
export function writeBundleZip(bundle: Uint8Array): Uint8Array {
  return zipSync({ [BUNDLE_NAME]: [bundle, { level: 6, mtime: ZIP_TIME, os: 3, attrs: 0 }] });
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

/** One entry of a bounded size is unpacked; anything beside it makes the file another thing. */
function unzip(bytes: Uint8Array): Uint8Array {
  const names: string[] = [];
  try {
    const files = unzipSync(bytes, {
      filter: ({ name, originalSize }) => {
        names.push(name);
        return name === BUNDLE_NAME && originalSize <= BUNDLE_BYTES_MAX && names.length === 1;
      },
    });
    const bundle = files[BUNDLE_NAME];
    if (bundle !== undefined && names.length === 1) return bundle;
  } catch (cause) {
    throw malformed("a zip file that cannot be read", cause);
  }
  throw malformed(`a zip file of ${names.length} entries; expected ${BUNDLE_NAME} alone`);
}

function malformed(found: string, cause?: unknown): SovereignError {
  const text = `Not a compliance bundle: ${found}`;
  return new SovereignError("ERR_BUNDLE_MALFORMED", text, {}, cause);
}
