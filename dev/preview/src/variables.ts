// Variables of a dashboard: what they can be, which of it is taken, and where it is filled in.
import type { Dashboard, VariableModel } from '@grafana/schema';

import { ask } from './prometheus';

export interface Variable {
  name: string;
  label: string;
  values: string[];
  /** What stands for all of them, where all are taken. */
  all?: string;
}

/** As on a fresh look: all where the dashboard says so, else the first. `chosen` overrides that. */
export async function load(dashboard: Dashboard, chosen: URLSearchParams): Promise<Variable[]> {
  const loaded: Variable[] = [];
  for (const model of dashboard.templating?.list ?? []) {
    const wanted = chosen.get(`var-${model.name}`);
    const values = wanted ? [wanted] : await options(model, loaded);
    const all = model.includeAll && !wanted ? (model.allValue ?? values.map(escape).join('|')) : undefined;
    const taken = all === undefined ? values.slice(0, 1) : values;
    loaded.push({ name: model.name, label: model.label || model.name, values: taken, all });
  }
  return loaded;
}

async function options(model: VariableModel, before: Variable[]): Promise<string[]> {
  const query = typeof model.query === 'string' ? model.query : String(model.query?.query ?? '');
  const parts = /^label_values\((?:(.+),\s*)?(\w+)\)$/.exec(query);
  if (!parts) {
    throw new Error(`the variable ${model.name} is not one of label_values: ${query}`);
  }
  const [, selector, label] = parts;
  const match: Record<string, string> = selector ? { 'match[]': interpolate(selector, before, {}) } : {};
  const values = await ask<string[]>(`/api/v1/label/${label}/values`, match);
  return model.sort === 2 ? values.reverse() : values;
}

function escape(text: string): string {
  return text.replace(/[\\^$*+?.()|[\]{}]/g, '\\\\$&');
}

/** Fills in `$name` and `${name}` for PromQL. What is not known stays: `$1` of a regular expression. */
export function interpolate(text: string, variables: Variable[], more: Record<string, string>): string {
  return replace(text, (name) => {
    const variable = variables.find((candidate) => candidate.name === name);
    return more[name] ?? variable?.all ?? variable?.values[0];
  });
}

/** The same for people. */
export function readable(text: string, variables: Variable[]): string {
  return replace(text, (name) => {
    const variable = variables.find((candidate) => candidate.name === name);
    return variable && (variable.all === undefined ? variable.values[0] : 'All');
  });
}

function replace(text: string, value: (name: string) => string | undefined): string {
  return text.replace(/\$\{(\w+)(?::\w+)?\}|\$(\w+)/g, (whole, braced, bare) => value(braced ?? bare) ?? whole);
}
