// Grafana's published types, as JSON can write them: a string enum also by its text, a numeric one by its number,
// and narrowed to what a dashboard of ours has to say.
import type { Dashboard, GridPos, Panel, RowPanel } from '@grafana/schema';
import type { Options as BarGauge } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as Table } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type {
  FieldConfig as TimeSeriesField, Options as TimeSeries,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type Wire<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends ReadonlyArray<infer U> ? Wire<U>[]
  : T extends object ? { [K in keyof T]: Wire<T[K]> }
  : T;

interface Source { type: 'prometheus' | 'grafana'; uid: string }

interface Target {
  refId: string;
  datasource: Source;
  expr: string;
  editorMode: 'code';
  legendFormat: string;
  instant: boolean;
  range: boolean;
  format?: 'table';
}

type Config = Wire<NonNullable<Panel['fieldConfig']>>;
type Replaced = 'type' | 'id' | 'title' | 'description' | 'gridPos' | 'datasource' | 'targets' | 'options' | 'fieldConfig';

type Shown<Type extends string, Options, Custom> = Omit<Wire<Panel>, Replaced> & {
  type: Type;
  id: number;
  title: string;
  description: string;
  gridPos: Wire<GridPos>;
  datasource: Source;
  targets: Target[];
  options: Partial<Wire<Options>>;
  fieldConfig: Omit<Config, 'defaults'> & {
    defaults: Omit<Config['defaults'], 'custom' | 'unit'> & { unit: string; custom?: Partial<Wire<Custom>> };
  };
};

type AnyPanel =
  | Shown<'stat', Stat, object>
  | Shown<'timeseries', TimeSeries, TimeSeriesField>
  | Shown<'bargauge', BarGauge, object>
  | Shown<'table', Table, Record<string, unknown>>
  | Wire<RowPanel>;

type Annotations = NonNullable<NonNullable<Wire<Dashboard>['annotations']>['list']>;
interface OfPrometheus {
  expr?: string;
  step?: string;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: boolean;
}

type Variable = NonNullable<NonNullable<Wire<Dashboard>['templating']>['list']>[number] & {
  /** The query as text: Grafana writes it itself, though its types do not have it. */
  definition: string;
};

type ReplacedOfAll = 'panels' | 'uid' | 'title' | 'description' | 'annotations' | 'templating';

export type Ours = Omit<Wire<Dashboard>, ReplacedOfAll> & {
  uid: string;
  title: string;
  description: string;
  schemaVersion: number;
  panels: AnyPanel[];
  templating: { list: Variable[] };
  annotations: { list: Array<Annotations[number] & OfPrometheus> };
};
