export { cutText } from "./cut.ts";
