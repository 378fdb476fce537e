export {
  type Envelope,
  pae,
  parseEnvelope,
  signEnvelope,
  type VerifiedEnvelope,
  verifyEnvelope,
} from "./dsse.ts";
