export {
  foldIncident,
  type Incident,
  INCIDENT_KINDS,
  type IncidentChange,
  incidentChangeOf,
  incidentIdOf,
  type IncidentKind,
  type IncidentState,
} from "./incident.ts";
