{{/* A DNS label, short enough for the names of the parts. */}}
{{- define "ordersystem.name" -}}
{{- $name := default .Release.Name .Values.name }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$" $name) }}
{{- fail (printf "name: at most 40 lower-case letters, digits and '-', starting with a letter, not %q; set --set name=shop" $name) }}
{{- end }}
{{- $name }}
{{- end }}

{{- define "ordersystem.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: {{ include "ordersystem.name" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ordersystem.demoSelectorLabels" -}}
app.kubernetes.io/name: {{ .part }}
app.kubernetes.io/instance: {{ printf "%s-%s" (include "ordersystem.name" .root) .part }}
{{- end }}

{{/* Addresses with the namespace in them: the operator, which lives in another one, uses them too. */}}
{{- define "ordersystem.demoKafka" -}}
{{ include "ordersystem.name" . }}-kafka.{{ .Release.Namespace }}.svc:9092
{{- end }}

{{- define "ordersystem.demoSecret" -}}
{{ include "ordersystem.name" . }}-db-app
{{- end }}

{{- define "ordersystem.spec" -}}
{{- $spec := deepCopy .Values.spec }}
{{- if .Values.demo.enabled }}
{{- $kafka := dict "bootstrapServers" (include "ordersystem.demoKafka" .) "replicationFactor" 1 }}
{{- $database := dict "urlSecret" (dict "name" (include "ordersystem.demoSecret" .) "key" "uri") }}
{{- $spec = merge $spec (dict "kafka" $kafka "database" $database) }}
{{- else }}
{{- $hint := "\n  To try it with a Kafka and a PostgreSQL of its own: --set demo.enabled=true" }}
{{- $_ := required (print "spec.kafka.bootstrapServers: where is Kafka?" $hint) (dig "kafka" "bootstrapServers" "" $spec) }}
{{- $_ := required (print "spec.database.urlSecret.name: which secret holds PostgreSQL's URL?" $hint) (dig "database" "urlSecret" "name" "" $spec) }}
{{- end }}
{{- toYaml $spec }}
{{- end }}

{{/* The pod's half of the `restricted` Pod Security Standard, for a user that the image has. */}}
{{- define "ordersystem.demoPodSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "ordersystem.demoVolumeClaims" -}}
volumeClaimTemplates:
  - metadata:
      name: data
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storageClassName }}
      storageClassName: {{ . | quote }}
      {{- end }}
      resources:
        requests:
          storage: {{ .size | quote }}
# Data whose password went with the release would be of no use.
persistentVolumeClaimRetentionPolicy:
  whenDeleted: Delete
  whenScaled: Retain
{{- end }}
