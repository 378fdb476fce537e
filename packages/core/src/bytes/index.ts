export {
  base64Decode,
  base64Encode,
  concatBytes,
  equalBytes,
  hexDecode,
  hexEncode,
  utf8Decode,
  utf8Encode,
} from "./bytes.ts";
export { printable, printableJson, printableLines, quoted } from "./printable.ts";
