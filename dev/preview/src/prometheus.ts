// Prometheus' answers, as the data frames that Grafana's components draw.
import { createDataFrame, DataFrame, FieldType, rangeUtil, TimeRange } from '@grafana/data';

import { interpolate, Variable } from './variables';

type Labels = Record<string, string>;
interface Sample { metric: Labels; value: [number, string] }
interface Run { metric: Labels; values: Array<[number, string]> }
export type Answer =
  | { resultType: 'vector'; result: Sample[] }
  | { resultType: 'matrix'; result: Run[] }
  | { resultType: 'scalar'; result: [number, string] };

export interface Query {
  refId: string;
  expr: string;
  legendFormat?: string;
  format?: string;
  instant?: boolean;
  hide?: boolean;
}

export async function ask<T>(path: string, parameters: Record<string, string> = {}): Promise<T> {
  const answer = await fetch(`/prometheus${path}?${new URLSearchParams(parameters)}`);
  const body = await answer.json();
  if (body.status !== 'success') {
    throw new Error(body.error ?? answer.statusText);
  }
  return body.data as T;
}

/** The interval that Grafana's datasource has for its scrapes: steps are never shorter. */
const SCRAPE_INTERVAL_MS = 15_000;

/** Asks one query as Grafana would for a panel that is so many pixels wide. */
export async function run(query: Query, range: TimeRange, pixels: number, variables: Variable[], refId: string) {
  const from = range.from.valueOf();
  const to = range.to.valueOf();
  const wanted = rangeUtil.calculateInterval(range, pixels, `${SCRAPE_INTERVAL_MS}ms`).intervalMs;
  const step = Math.max(1000, wanted);
  const seconds = Math.round((to - from) / 1000);
  const expr = interpolate(query.expr, variables, {
    __interval: `${step}ms`,
    __interval_ms: String(step),
    __rate_interval: `${Math.max(step + SCRAPE_INTERVAL_MS, 4 * SCRAPE_INTERVAL_MS)}ms`,
    __range: `${seconds}s`,
    __range_s: String(seconds),
  });
  if (query.instant) {
    const answer = await ask<Answer>('/api/v1/query', { query: expr, time: String(to / 1000) });
    return frames(answer, query, refId, []);
  }
  const first = Math.floor(from / step) * step;
  const last = Math.floor(to / step) * step;
  const answer = await ask<Answer>('/api/v1/query_range', {
    query: expr,
    start: String(first / 1000),
    end: String(last / 1000),
    step: String(step / 1000),
  });
  const times = Array.from({ length: (last - first) / step + 1 }, (_, index) => first + index * step);
  return frames(answer, query, refId, times);
}

function frames(answer: Answer, query: Query, refId: string, times: number[]): DataFrame[] {
  switch (answer.resultType) {
    case 'matrix':
      return answer.result.map((series) => seriesFrame(series, query, refId, times));
    case 'scalar':
      return instantFrames([{ metric: {}, value: answer.result }], query, refId);
    case 'vector':
      return instantFrames(answer.result, query, refId);
  }
}

/** One value for each step: null where there is none, so that gaps are seen. */
function seriesFrame({ metric, values }: Run, query: Query, refId: string, times: number[]): DataFrame {
  const at = new Map(values.map(([time, value]) => [Math.round(time * 1000), number(value)]));
  const name = legend(query.legendFormat, metric);
  return createDataFrame({
    refId,
    name,
    fields: [
      { name: 'Time', type: FieldType.time, values: times, config: { interval: times[1] - times[0] } },
      {
        name: 'Value',
        type: FieldType.number,
        // What is not a number is a gap.
        values: times.map((time) => (Number.isNaN(at.get(time) ?? NaN) ? null : at.get(time))),
        labels: metric,
        config: { displayNameFromDS: name },
      },
    ],
  });
}

function instantFrames(samples: Sample[], query: Query, refId: string): DataFrame[] {
  if (query.format === 'table') {
    return samples.length === 0 ? [] : [tableFrame(samples, refId)];
  }
  return samples.map(({ metric, value }) => {
    const name = legend(query.legendFormat, metric);
    return createDataFrame({
      refId,
      name,
      fields: [
        { name: 'Time', type: FieldType.time, values: [value[0] * 1000], config: {} },
        {
          name: 'Value',
          type: FieldType.number,
          values: [number(value[1])],
          labels: metric,
          config: { displayNameFromDS: name },
        },
      ],
    });
  });
}

function tableFrame(samples: Sample[], refId: string): DataFrame {
  const labels = [...new Set(samples.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return createDataFrame({
    refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: samples.map(({ value }) => value[0] * 1000), config: {} },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        values: samples.map(({ metric }) => metric[label] ?? ''),
        config: {},
      })),
      { name: 'Value', type: FieldType.number, values: samples.map(({ value }) => number(value[1])), config: {} },
    ],
  });
}

/** As Grafana's datasource: with several table queries in a panel, each names its values by its letter. */
export function nameValues(frames: DataFrame[], queries: number): DataFrame[] {
  if (queries > 1) {
    frames.flatMap(({ fields, refId }) => fields.map((field) => ({ field, refId }))).forEach(({ field, refId }) => {
      if (field.name === 'Value' && !field.labels) {
        field.name = `Value #${refId}`;
      }
    });
  }
  return frames;
}

function number(text: string): number {
  return text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text);
}

function legend(format: string | undefined, { __name__: name = '', ...labels }: Labels): string {
  if (format && format !== '__auto') {
    return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');
  }
  const inner = Object.entries(labels).map(([label, value]) => `${label}="${value}"`).join(', ');
  return inner ? `${name}{${inner}}` : name || 'Value';
}
