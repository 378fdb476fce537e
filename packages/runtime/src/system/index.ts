export { type Clock, shiftTimestamp, systemClock, timestampOf } from "./clock.ts";
export { DurableFiles, listFolder, readRegular } from "./durable-files.ts";
export { type Entropy, newId, newNonce, systemEntropy } from "./entropy.ts";
export { every } from "./every.ts";
export {
  kindAt,
  openOwnFile,
  openOwnLog,
  type OwnFileUse,
  ownsFile,
  placeOwnFile,
  putAside,
  readOwnFile,
  removeAt,
  replaceOwnFile,
  requireOwnFile,
} from "./own-file.ts";
