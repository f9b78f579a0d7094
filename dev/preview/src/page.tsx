// The page around the panels: title, time range, variables, grid. Not Grafana's, but much like it.
import { LoadingState, TimeRange } from '@grafana/data';
import type { Dashboard, Panel, RowPanel } from '@grafana/schema';
import { Icon, InlineFormLabel, PanelChrome, Select, TimeRangePicker, ToolbarButton, useTheme2 } from '@grafana/ui';
import { CSSProperties } from 'react';

import { Contents, Loaded, Mark } from './panels';
import { readable, Variable } from './variables';

/** Grafana's grid: 24 columns, cells of 30 pixels, 8 between them. */
const COLUMNS = 24;
const CELL = 30;
const GAP = 8;
const MARGIN = 16;

interface Properties {
  dashboard: Dashboard;
  loaded: Map<number, Loaded>;
  range: TimeRange;
  timeZone: string;
  marks: Mark[];
  variables: Variable[];
  width: number;
}

export function Page(properties: Properties) {
  const { dashboard, range, timeZone, variables, width } = properties;
  const { colors } = useTheme2();
  const nothing = () => undefined;
  const bar: CSSProperties = {
    display: 'flex', alignItems: 'center', gap: 8, padding: `10px ${MARGIN}px`, background: colors.background.primary,
    borderBottom: `1px solid ${colors.border.weak}`,
  };
  return (
    <div style={{ width, background: colors.background.canvas }}>
      <div style={bar}>
        <Icon name="apps" />
        <span style={{ fontSize: 16, fontWeight: 500 }}>{dashboard.title}</span>
        <span style={{ color: colors.text.secondary }}>{dashboard.description}</span>
        <span style={{ flex: 1 }} />
        <TimeRangePicker
          value={range} timeZone={timeZone} onChange={nothing} onChangeTimeZone={nothing} onMoveBackward={nothing}
          onMoveForward={nothing} onZoom={nothing}
        />
        <ToolbarButton icon="sync">{dashboard.refresh || 'Refresh'}</ToolbarButton>
      </div>
      <div style={{ display: 'flex', gap: 8, padding: `${MARGIN / 2}px ${MARGIN}px` }}>
        {variables.map((variable) => <Choice key={variable.name} variable={variable} />)}
      </div>
      <Grid {...properties} />
    </div>
  );
}

function Choice({ variable: { label, values, all } }: { variable: Variable }) {
  const text = all === undefined ? (values[0] ?? '') : 'All';
  return (
    <div style={{ display: 'flex' }}>
      <InlineFormLabel width="auto">{label}</InlineFormLabel>
      <Select width="auto" onChange={() => undefined} options={[]} value={{ label: text, value: text }} />
    </div>
  );
}

function Grid(properties: Properties) {
  const { dashboard, loaded, width } = properties;
  const column = (width - 2 * MARGIN - GAP * (COLUMNS - 1)) / COLUMNS;
  const panels = (dashboard.panels ?? []) as Array<Panel | RowPanel>;
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos!.y + gridPos!.h));
  return (
    <div style={{ position: 'relative', margin: `0 ${MARGIN}px`, height: bottom * (CELL + GAP) + MARGIN }}>
      {panels.map((panel) => {
        const { x, y, w, h } = panel.gridPos!;
        const box = { width: w * column + (w - 1) * GAP, height: h * CELL + (h - 1) * GAP };
        const place: CSSProperties = { position: 'absolute', left: x * (column + GAP), top: y * (CELL + GAP), ...box };
        return (
          <div key={panel.id} style={place}>
            {panel.type === 'row' ? (
              <div style={{ display: 'flex', alignItems: 'center', gap: 6, height: '100%', fontSize: 16, fontWeight: 500 }}>
                <Icon name="angle-down" /> {panel.title}
              </div>
            ) : (
              <Frame {...properties} {...box} one={loaded.get(panel.id!)!} />
            )}
          </div>
        );
      })}
    </div>
  );
}

function Frame({ one, width, height, range, timeZone, marks, variables }: Properties & { one: Loaded; height: number }) {
  const { panel, error } = one;
  return (
    <PanelChrome
      title={readable(panel.title ?? '', variables)}
      description={panel.description}
      loadingState={error ? LoadingState.Error : LoadingState.Done}
      statusMessage={error}
      padding={panel.type === 'table' ? 'none' : 'md'}
      {...{ width, height }}
    >
      {(width: number, height: number) => <Contents loaded={one} {...{ width, height, range, timeZone, marks }} />}
    </PanelChrome>
  );
}
