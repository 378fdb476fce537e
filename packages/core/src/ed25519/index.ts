export { checkSignature, type PublicKey, parsePublicKey, type Signer } from "./ed25519.ts";
