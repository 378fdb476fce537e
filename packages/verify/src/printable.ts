export { printable } from "@sovereign/core";
