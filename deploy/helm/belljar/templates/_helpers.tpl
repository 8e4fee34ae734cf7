{{- define "belljar.labels" -}}
app.kubernetes.io/name: belljar
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "belljar.metadata" -}}
name: {{ .root.Release.Name }}-{{ .component }}
labels:
  {{- include "belljar.labels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "belljar.redis" -}}
{{- if eq .Values.redis.url "secret" }}
- name: BELLJAR_REDIS
  valueFrom: {secretKeyRef: {name: {{ .Values.secret }}, key: BELLJAR_REDIS}}
{{- else }}
- name: BELLJAR_REDIS
  value: {{ .Values.redis.url | default (printf "redis://%s-redis:6379" .Release.Name) | quote }}
{{- end }}
{{- end }}

{{- define "belljar.secret" -}}
- name: BELLJAR_SECRET
  valueFrom: {secretKeyRef: {name: {{ .Values.secret }}, key: BELLJAR_SECRET}}
{{- if .Values.dispatcher.tlsSecret }}
- {name: BELLJAR_TLS_CERT, value: /tls/tls.crt}
- {name: BELLJAR_TLS_KEY, value: /tls/tls.key}
- {name: BELLJAR_TLS_CA, value: /tls/ca.crt}
{{- end }}
{{- end }}

{{- define "belljar.traces" -}}
{{- with .Values.traces.otlpEndpoint }}
- {name: BELLJAR_OTLP_ENDPOINT, value: {{ . | quote }}}
- {name: BELLJAR_TRACE_SAMPLE, value: {{ $.Values.traces.sample | quote }}}
{{- end }}
{{- end }}

{{- define "belljar.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "belljar.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{ include "belljar.confined" . }}
{{- end }}

{{- define "belljar.confined" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "belljar.mounts" -}}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if . }}
  - {name: tls, mountPath: /tls, readOnly: true}
  {{- end }}
{{- end }}

{{- define "belljar.volumes" -}}
volumes:
  - name: tmp
    emptyDir: {}
  {{- with . }}
  - name: tls
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
{{- end }}

{{- define "belljar.env" -}}
{{- range $name, $value := . }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- /* For pods that share a volume for large values. */}}
{{- define "belljar.blobs.env" -}}
{{- if and .Values.blobs.enabled .Values.blobs.bucket }}
{{- fail "blobs.enabled and blobs.bucket: large values are in a volume or in a bucket" }}
{{- end }}
{{- if .Values.blobs.enabled }}
- {name: BELLJAR_BLOBS, value: /blobs/values}
{{- end }}
{{- with .Values.blobs.bucket }}
- {name: BELLJAR_BLOBS, value: {{ . | quote }}}
{{- end }}
{{- end }}

{{- define "belljar.blobs.secret" -}}
{{- if and .Values.blobs.bucket .Values.blobs.bucketSecret }}
envFrom:
  - secretRef: {name: {{ .Values.blobs.bucketSecret }}}
{{- end }}
{{- end }}

{{- define "belljar.blobs.mount" -}}
{{- if .Values.blobs.enabled }}
- {name: blobs, mountPath: /blobs}
{{- end }}
{{- end }}

{{- define "belljar.blobs.volume" -}}
{{- if .Values.blobs.enabled }}
- name: blobs
  persistentVolumeClaim: {claimName: {{ .Release.Name }}-blobs}
{{- end }}
{{- end }}

{{- define "belljar.blobs.label" -}}
{{- if .Values.blobs.enabled }}
belljar/blobs: "true"
{{- end }}
{{- end }}

{{- define "belljar.blobs.affinity" -}}
{{- if .Values.blobs.enabled }}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}, belljar/blobs: "true"}}
{{- end }}
{{- end }}

{{- define "belljar.metrics.env" -}}
{{- if .Values.metrics.enabled }}
- {name: BELLJAR_METRICS_LISTEN, value: "0.0.0.0:{{ .Values.metrics.port }}"}
{{- end }}
{{- end }}

{{- define "belljar.metrics.port" -}}
{{- if .Values.metrics.enabled }}
- {name: metrics, containerPort: {{ .Values.metrics.port }}}
{{- end }}
{{- end }}

{{- define "belljar.metrics.annotations" -}}
{{- if .Values.metrics.enabled }}
annotations:
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .Values.metrics.port | quote }}
  prometheus.io/path: /metrics
{{- end }}
{{- end }}

{{- define "belljar.budget" -}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "belljar.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "belljar.labels" . | nindent 6 }}
{{- end }}

{{- define "belljar.part" -}}
podSelector:
  matchLabels:
    {{- include "belljar.labels" . | nindent 4 }}
{{- end }}

{{- define "belljar.keys" -}}
{{- if or (eq .Values.gateway.keys "required") .Values.gateway.tlsSecret .Values.gateway.oidc.issuer }}required{{ end }}
{{- end }}

{{- /* The volume with the policies of tenants, where there are any. */}}
{{- define "belljar.tenants" -}}
{{- if .Values.tenants.secret }}
- name: tenants
  secret: {secretName: {{ .Values.tenants.secret }}, defaultMode: 0440}
{{- else if .Values.tenants.policies }}
- name: tenants
  configMap: {name: {{ .Release.Name }}-tenants}
{{- end }}
{{- end }}

{{- define "belljar.metrics.ingress" -}}
{{- if .Values.metrics.enabled }}
- ports: [{port: metrics}]
  {{- with .Values.networkPolicy.metricsFrom }}
  from: {{ toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
