/**
 * Where in a TOML file a key is, since a parser forgets it. Reads headers and the keys in front of `=`; what is within
 * an inline table is found with its table.
 */
export class KeyLines {
  private readonly lines = new Map<string, number>();

  constructor(text: string) {
    let table: readonly string[] = [];
    let closing: string | undefined;
    for (const [index, line] of text.split('\n').entries()) {
      if (closing !== undefined) {
        if (line.includes(closing)) closing = undefined;
        continue;
      }
      const header = /^\s*\[\[?([^\]]+)\]/.exec(line);
      if (header !== null) {
        table = keyParts(header[1]!);
        this.add(table, index + 1);
        continue;
      }
      const assignment = /^\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_.\-\s])+?)\s*=(.*)$/.exec(line);
      if (assignment === null) continue;
      this.add([...table, ...keyParts(assignment[1]!)], index + 1);
      closing = opensMultiLine(assignment[2]!);
    }
  }

  /** The line of a key, from 1, or of the innermost table around it that has one. */
  of(path: readonly string[]): number | undefined {
    for (let length = path.length; length > 0; length--) {
      const line = this.lines.get(keyOf(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return undefined;
  }

  private add(path: readonly string[], line: number): void {
    // A table is where it is first mentioned.
    for (let length = 1; length <= path.length; length++) {
      const key = keyOf(path.slice(0, length));
      if (!this.lines.has(key)) this.lines.set(key, line);
    }
  }
}

function keyOf(path: readonly string[]): string {
  return JSON.stringify(path);
}

function keyParts(text: string): string[] {
  const parts = text.match(/"[^"]*"|'[^']*'|[A-Za-z0-9_-]+/g) ?? [];
  return parts.map((part) => part.replace(/^["']|["']$/g, ''));
}

/** What ends a multi-line string that begins on a line and does not end there. */
function opensMultiLine(value: string): string | undefined {
  const start = /^\s*("""|''')/.exec(value);
  if (start === null) return undefined;
  return value.indexOf(start[1]!, start[0].length) < 0 ? start[1] : undefined;
}
