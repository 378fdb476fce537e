/** One line about processes that live under no sentinel that answers. */
export function describeUnanswered(living: number): string {
  return `NONE ANSWERS, and ${living} processes of this installation LIVE; to kill them type: scram`;
}
