import { userInfo } from "node:os";

/** Who types, by the system's word. */
export function userName(): string {
  return userInfo().username;
}
