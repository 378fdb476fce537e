export {
  kindAt,
  openOwnFile,
  openOwnLog,
  ownsFile,
  type OwnFileUse,
  putAside,
  readOwnFile,
  removeAt,
  replaceOwnFile,
} from "./own-file.ts";
