// Loads one dashboard, asks Prometheus for every panel, draws, and reports what was found.
import { createTheme, DataFrame, EventBusSrv, FieldType, rangeUtil, ThemeContext, TimeRange } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import type { Dashboard, Panel } from '@grafana/schema';
import { GlobalStyles, PanelContextProvider } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

import { configure, transform } from './fields';
import { Loaded, Mark } from './panels';
import { Page } from './page';
import { nameValues, Query, run } from './prometheus';
import { load, Variable } from './variables';

interface Report {
  done: boolean;
  /** What went wrong, each with its panel. */
  wrong: string[];
  /** Panels that show nothing, with what they say then. */
  empty: string[];
}
const report: Report = { done: false, wrong: [], empty: [] };
Object.assign(window, { report });

const asked = new URLSearchParams(location.search);
const width = Number(asked.get('width') ?? 1500);
const theme = createTheme({ colors: { mode: asked.get('theme') === 'light' ? 'light' : 'dark' } });

async function loadPanel(panel: Panel, range: TimeRange, timeZone: string, variables: Variable[]): Promise<Loaded> {
  const queries = (panel.targets ?? []) as unknown as Query[];
  const pixels = Math.round((width / 24) * panel.gridPos!.w);
  try {
    const answers = queries.filter(({ hide }) => !hide).map((query) => run(query, range, pixels, variables, query.refId));
    const frames: DataFrame[] = nameValues((await Promise.all(answers)).flat(), queries.length);
    const { frames: configured, config, unknown } = configure(panel, await transform(panel, frames), theme, timeZone);
    report.wrong.push(...unknown.map((id) => `${panel.title}: nobody knows ${id}`));
    if (!configured.some(({ length }) => length > 0)) {
      report.empty.push(`${panel.title}: ${config.defaults.noValue ?? 'NO DATA'}`);
    }
    return { panel, frames: configured, config };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    report.wrong.push(`${panel.title}: ${message}`);
    return { panel, frames: [], config: configure(panel, [], theme, timeZone).config, error: message };
  }
}

interface Annotation { enable?: boolean; expr?: string; iconColor: string; titleFormat?: string; textFormat?: string }

/** Annotations whose values are their times, in milliseconds. */
async function loadMarks(dashboard: Dashboard, range: TimeRange, variables: Variable[]): Promise<Mark[]> {
  const annotations = (dashboard.annotations?.list ?? []) as unknown as Annotation[];
  const marks = annotations.map(async ({ enable, expr, iconColor, titleFormat, textFormat }) => {
    if (!enable || !expr) {
      return [];
    }
    const frames = await run({ refId: 'marks', expr }, range, 2000, variables, 'marks');
    return frames.flatMap(({ fields }) => {
      const values = fields.find(({ type }) => type === FieldType.number)!;
      const text = (format = '') => format.replace(/\{\{(\w+)\}\}/g, (_, label) => values.labels?.[label] ?? '');
      const times = [...new Set(values.values.filter((value) => value !== null))] as number[];
      return times.map((time) => ({ time, color: iconColor, title: text(titleFormat), text: text(textFormat) }));
    });
  });
  return (await Promise.all(marks)).flat();
}

async function main() {
  // The axes are measured once, with the fonts that are there then.
  await Promise.all(['400 12px Inter', '500 14px Inter'].map((font) => document.fonts.load(font)));
  await initPluginTranslations('preview');
  const dashboard: Dashboard = await (await fetch(`/dashboards/${asked.get('dashboard')}.json`)).json();
  const timeZone = 'utc';
  const { from = 'now-1h', to = 'now' } = dashboard.time ?? {};
  const range = rangeUtil.convertRawToRange({ from: asked.get('from') ?? from, to: asked.get('to') ?? to }, timeZone);
  const variables = await load(dashboard, asked);
  const panels = ((dashboard.panels ?? []) as Panel[]).filter(({ type }) => (type as string) !== 'row');
  const loaded = new Map<number, Loaded>();
  for (const panel of panels) {
    loaded.set(panel.id!, await loadPanel(panel, range, timeZone, variables));
  }
  const marks = await loadMarks(dashboard, range, variables);
  const context = { eventsScope: 'global', eventBus: new EventBusSrv() };
  createRoot(document.getElementById('root')!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PanelContextProvider value={context as never}>
        <Page {...{ dashboard, loaded, range, timeZone, marks, variables, width }} />
      </PanelContextProvider>
    </ThemeContext.Provider>,
  );
  // Two frames after the first layout everything that measures itself has been drawn.
  setTimeout(() => { report.done = true; }, 1500);
}

main().catch((error) => {
  report.wrong.push(String(error?.stack ?? error));
  report.done = true;
});
