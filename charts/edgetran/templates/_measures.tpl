{{- /* Written by hack/chart.py from edgetran.api.measures (make chart): edit the table. */}}

{{- /* Workers' metrics of the measures, without their prefix. */}}
{{- define "edgetran.measureMetrics" -}}
- last_latency_seconds
- last_energy_joules
- last_peak_power_watts
- best_accuracy_ratio
- best_latency_seconds
- best_energy_joules
- best_peak_power_watts
- best_parameters
{{- end }}

{{- /* What the label `measure` of a worker's metrics may say. */}}
{{- define "edgetran.measureNames" -}}
- latency_ms
- energy_mj
- peak_power_w
{{- end }}
