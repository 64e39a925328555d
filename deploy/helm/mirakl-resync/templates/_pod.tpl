{{/* What every pod has in common. Each takes {root: $, settings, secrets} or a part of it. */}}

{{/* Environment: settings as they are, secrets and files by their path. */}}
{{- define "resync.env" -}}
{{- range $name, $value := .settings }}
{{- if ne $value "" }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- range $name, $_ := .secrets }}
- name: {{ $name }}_FILE
  value: /run/secrets/mirakl-resync/{{ $name }}
{{- end }}
{{- end -}}

{{- define "resync.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .secrets }}
- name: secrets
  mountPath: /run/secrets/mirakl-resync
  readOnly: true
{{- end }}
{{- range $path, $_ := .root.Values.files }}
- name: files
  mountPath: {{ $path }}
  subPath: {{ trimPrefix "/" $path }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "resync.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- if .secrets }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $name, $from := .secrets }}
      - secret:
          name: {{ $from.secret }}
          items:
            - key: {{ $from.key }}
              path: {{ $name }}
      {{- end }}
{{- end }}
{{- with .root.Values.files }}
- name: files
  projected:
    defaultMode: 0440
    sources:
      {{- range $path, $from := . }}
      - secret:
          name: {{ $from.secret }}
          items:
            - key: {{ $from.key }}
              path: {{ trimPrefix "/" $path }}
      {{- end }}
{{- end }}
{{- end -}}

{{- define "resync.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "resync.container" -}}
image: {{ include "resync.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Liveness never asks the brokers, the database or Mirakl: their outage restarts nothing. */}}
{{- define "resync.probes" -}}
startupProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* {root, component, values}: where pods run. */}}
{{- define "resync.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
{{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else }}
{{- $here := . }}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "resync.selector" $here.root | nindent 8 }}
        app.kubernetes.io/component: {{ $here.component }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "resync.serviceSecrets" -}}
{{- $own := dict "RESYNC_DATABASE_URL" .Values.databaseUrl "RESYNC_ENCRYPTION_KEYS" .Values.service.encryptionKeys }}
{{- toYaml (merge dict .Values.service.secretSettings .Values.secretSettings $own) }}
{{- end -}}

{{- define "resync.serviceSettings" -}}
{{- toYaml (merge dict .Values.service.settings .Values.settings) }}
{{- end -}}
