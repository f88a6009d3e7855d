import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeBetweenMarkers } from '../../bench/page.ts';

const PAGE = new URL('../../../docs/performance.md', import.meta.url);

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'portferry-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('writeBetweenMarkers', () => {
  it('leaves the prose around the table of docs/performance.md as it is, however often', () => {
    const path = join(dir, 'page.md');
    const page = readFileSync(PAGE, 'utf8');
    writeFileSync(path, page);
    writeBetweenMarkers(path, 'the first table');
    writeBetweenMarkers(path, 'the second table');
    const written = readFileSync(path, 'utf8');
    const prose = (text: string) =>
      text.split(/(?<=<!-- bench: begin[^\n]*-->)[\s\S]*(?=<!-- bench: end -->)/);
    expect(prose(written)).toEqual(prose(page));
    expect(prose(page)).toHaveLength(2);
    expect(written).toContain('the second table');
    expect(written).not.toContain('the first table');
  });

  it('refuses a page without the markers', () => {
    const path = join(dir, 'page.md');
    writeFileSync(path, 'nothing');
    expect(() => writeBetweenMarkers(path, 'table')).toThrow('lacks the lines');
  });
});
