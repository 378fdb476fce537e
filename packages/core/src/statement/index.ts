export {
  createStatement,
  parseAnyStatement,
  parseStatement,
  type TypedStatement,
} from "./statement.ts";
