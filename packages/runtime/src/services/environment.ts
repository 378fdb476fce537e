export type Environment = Readonly<Record<string, string | undefined>>;

export function databaseUrlOf(environment: Environment): string | null {
  return environment["DATABASE_URL"] || null;
}
