export { openApi } from "./open-api.ts";
export { ROUTES } from "./routes.ts";
export { type ServeEvent, type ServeInput, serveApi } from "./serve.ts";
export { ApiServer, type ApiServerOptions } from "./server.ts";
