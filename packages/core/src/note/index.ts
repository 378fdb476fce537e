export {
  type Checkpoint,
  openCheckpoint,
  parseCheckpointText,
  signCheckpoint,
} from "./checkpoint.ts";
export { type NoteKey, type OpenedNote, openNote, signNote } from "./note.ts";
