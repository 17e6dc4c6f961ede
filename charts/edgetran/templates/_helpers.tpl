{{- /* Names, labels, images and rules that several templates use. */}}

{{- define "edgetran.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "edgetran.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "edgetran.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "edgetran.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* What selects the operator's pod: workers carry the same name with other components. */}}
{{- define "edgetran.selectorLabels" -}}
app.kubernetes.io/name: {{ include "edgetran.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "edgetran.labels" -}}
{{ include "edgetran.selectorLabels" . }}
{{ include "edgetran.commonLabels" . }}
{{- end }}

{{- define "edgetran.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/part-of: edgetran
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "edgetran.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "edgetran.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* An image's reference: (dict "image" {repository, tag, digest} "tag" DEFAULT "root" $). */}}
{{- define "edgetran.image" -}}
{{- $registry := .root.Values.imageRegistry -}}
{{- if $registry }}{{ trimSuffix "/" $registry }}/{{ end }}{{ .image.repository }}
{{- printf ":%s" (default .tag .image.tag) }}
{{- with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* Namespaces that are watched, as a JSON list; empty where all are. */}}
{{- define "edgetran.namespaces" -}}
{{- if eq .Values.scope "Cluster" -}}
[]
{{- else -}}
{{- default (list .Release.Namespace) .Values.watch.namespaces | uniq | toJson }}
{{- end }}
{{- end }}

{{- /* The namespaceSelector of a monitor of workers. */}}
{{- define "edgetran.watchedNamespaces" -}}
{{- $namespaces := include "edgetran.namespaces" . | fromJsonArray -}}
{{- if $namespaces -}}
matchNames:
  {{- toYaml $namespaces | nindent 2 }}
{{- else -}}
any: true
{{- end }}
{{- end }}

{{- /* What the operator may do in each namespace that it watches. */}}
{{- define "edgetran.rules" -}}
- apiGroups: [edgetran.io]
  resources: [profilingjobs, codesignsearches, gptranruns]
  verbs: [list, watch, delete]  # delete: spec.ttlSecondsAfterFinished
- apiGroups: [edgetran.io]
  resources: [profilingjobs, gptranruns]  # what a search makes for its devices and its winner
  verbs: [create, patch]
- apiGroups: [edgetran.io]
  resources: [profilingjobs/status, codesignsearches/status, gptranruns/status]
  verbs: [patch]
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
- apiGroups: [edgetran.io]
  resources: [profilingjobs/finalizers, codesignsearches/finalizers, gptranruns/finalizers]
  verbs: [update]  # OpenShift asks for it of whoever makes children that block their owner's end
{{- end }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [configmaps]  # get: of results, metadata alone are watched; update: nobody grants more than he has
  verbs: [list, watch, create, patch, get, update]
- apiGroups: [""]
  resources: [serviceaccounts, persistentvolumeclaims]
  verbs: [create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [create, patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
{{- if .Values.rbac.serving }}
- apiGroups: [apps]
  resources: [deployments]  # what serves a winner
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [create, patch, delete]
{{- end }}
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch, create]
{{- if .Values.rbac.rayJobs }}
- apiGroups: [ray.io]
  resources: [rayjobs]
  verbs: [list, watch, create, patch, delete]
{{- if .Values.networkPolicy.enabled }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]  # who may talk to the pods of a RayJob
  verbs: [create, patch]
{{- end }}
{{- end }}
{{- end }}

{{- /* The annotations of an object's metadata, with the line break before them. */}}
{{- define "edgetran.annotations" -}}
{{- with .Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{- /* The metrics of workers that are kept, without their prefix: all whose labels are bounded. */}}
{{- define "edgetran.workerMetrics" -}}
- steps
- steps_done
- stage_left_seconds
- records
- results_writes
- results_failures
- results_last_write_timestamp_seconds
- storage_free_bytes
- storage_size_bytes
- trial_accuracy_ratio
- trial_predicted_accuracy_ratio
- trial_predicted_accuracy_deviation_ratio
- measuring_seconds
- training_seconds
- shared_weights_steps_done
- hypervolume
- best_objective
- surrogate_error_ratio
- surrogate_p95_error_ratio
{{ include "edgetran.measureMetrics" . }}
{{- end }}
