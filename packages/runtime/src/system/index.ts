export { type Clock, shiftTimestamp, systemClock, timestampOf } from "./clock.ts";
export { DurableFiles, isCode, listFolder, readRegular } from "./durable-files.ts";
export { type Entropy, newId, newNonce, systemEntropy } from "./entropy.ts";
export { every } from "./every.ts";
export { FloodCount } from "./flood-count.ts";
export {
  appendOwnFile,
  kindAt,
  makeOwnFolder,
  makeOwnWritable,
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
export { type NamedFile, writingNamed } from "./named-file.ts";
export { programFile, programInside } from "./programs.ts";
export { refuseOtherJson } from "./other-json.ts";
export { rest } from "./rest.ts";
export { Turns } from "./turns.ts";
