export {
  kindAt,
  openOwnFile,
  ownsFile,
  type OwnFileUse,
  putAside,
  readOwnFile,
  removeAt,
  replaceOwnFile,
} from "./own-file.ts";
