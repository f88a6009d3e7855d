/** Rounds as tables: rows are figures, columns are peers, a cell is a median and its ratio to the baseline. */

import { median } from '../helpers/median.ts';
import type { Column, Measure } from './measures.ts';
import type { Outcome } from './round.ts';
import { spread } from './statistics.ts';

/** Rounds that lie further apart are marked: the share of the median between the least and the most. */
export const WIDE = 0.2;

/** One figure of one peer over all rounds. */
export interface Summary {
  readonly median: number;
  readonly spread: number;
}

/** @returns undefined when the peer has no such figure, and why when a round failed */
export function summarize(
  outcomes: readonly Outcome[],
  peer: string,
  measure: Measure,
  { key }: Column,
): Summary | string | undefined {
  const its = outcomes.filter((outcome) => outcome.peer === peer);
  const failure = its.find(({ failed }) => failed[measure.name] !== undefined);
  if (failure !== undefined) return failure.failed[measure.name];
  const figures = its.map((outcome) => outcome.figures[key]).filter((figure) => figure !== undefined);
  return figures.length === 0 ? undefined : { median: median(figures), spread: spread(figures) };
}

export interface TableOptions {
  readonly outcomes: readonly Outcome[];
  readonly measures: readonly Measure[];
  readonly peers: readonly string[];
  /** Whom ratios are to. */
  readonly baseline: string;
  /** Whether each cell says how far its rounds lie apart. */
  readonly spreads: boolean;
}

/** Rows of cells, the first of them the heading; rows without a figure are left out. */
export function tableOf(options: TableOptions): string[][] {
  const { measures, peers, outcomes, baseline } = options;
  const rows = measures.flatMap((measure) =>
    measure.columns.flatMap((column) => {
      const summaries = peers.map((peer) => summarize(outcomes, peer, measure, column));
      if (summaries.every((summary) => summary === undefined)) return [];
      const base = summarize(outcomes, baseline, measure, column);
      const cells = summaries.map((summary, index) =>
        cell(summary, column, peers[index] === baseline ? undefined : base, options.spreads),
      );
      return [[column.title, ...cells]];
    }),
  );
  return [['', ...peers], ...rows];
}

/** A table in Markdown. */
export function markdown(rows: readonly string[][]): string {
  const widths = rows[0]!.map((_, index) => Math.max(3, ...rows.map((row) => row[index]!.length)));
  const line = (cells: string[]) =>
    `| ${cells.map((text, index) => (index === 0 ? text.padEnd(widths[index]!) : text.padStart(widths[index]!))).join(' | ')} |`;
  const rule = widths.map((width, index) => (index === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(rows[0]!), line(rule), ...rows.slice(1).map(line)].join('\n');
}

function cell(
  summary: Summary | string | undefined,
  { digits }: Column,
  base: Summary | string | undefined,
  spreads: boolean,
): string {
  if (summary === undefined) return '-';
  if (typeof summary === 'string') return 'failed';
  const figure = summary.median.toLocaleString('en', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  const notes: string[] = [];
  if (typeof base === 'object' && base.median > 0)
    notes.push(`${(summary.median / base.median).toFixed(2)}×`);
  if (spreads) notes.push(`±${Math.round((summary.spread * 100) / 2)} %`);
  const wide = !spreads && summary.spread > WIDE ? ' ~' : '';
  return `${figure}${notes.length === 0 ? '' : ` (${notes.join(', ')})`}${wide}`;
}
