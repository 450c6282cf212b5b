{{- define "evenwatt.labels" -}}
app.kubernetes.io/name: evenwatt
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "evenwatt.selector" -}}
app.kubernetes.io/name: evenwatt
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "evenwatt.mqtt" -}}
[mqtt]
host = {{ .Values.broker.host | quote }}
port = {{ .Values.broker.port }}
{{- if .Values.broker.secret }}
ca_file = "/etc/evenwatt/broker/ca.pem"
{{- if .Values.broker.username }}
username = {{ .Values.broker.username | quote }}
password_file = "/etc/evenwatt/broker/password"
{{- end }}
{{- end }}
{{- end }}

{{- define "evenwatt.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 9730
runAsGroup: 9730
capabilities:
  drop: ["ALL"]
seccompProfile:
  type: RuntimeDefault
{{- end }}
