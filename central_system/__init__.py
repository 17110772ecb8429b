"""An OCPP central system for each operator; it calls the hub as any operator would."""
