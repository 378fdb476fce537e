export { digestOf, sha256, sha256Hex } from "./digest.ts";
