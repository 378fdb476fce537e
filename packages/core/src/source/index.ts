export { parseSourceStatement, type SourceReceipt, sourceStatementOf } from "./source-summary.ts";
