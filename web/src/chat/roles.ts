/** What the roles of a chat may do. Their numbers are the wire's, and in no order. */

import { Role } from "./frames.ts";

/** Names of roles above guests, as strings of the pages have them. */
export const ROLE_NAMES: Readonly<Partial<Record<Role, "member" | "moderator" | "lead_moderator" | "idol" | "bot" | "server">>> = {
  [Role.MEMBER]: "member",
  [Role.MODERATOR]: "moderator",
  [Role.LEAD_MODERATOR]: "lead_moderator",
  [Role.IDOL]: "idol",
  [Role.BOT]: "bot",
  [Role.SERVER]: "server",
};

/** Lower ranks first; only these moderate. */
const MODERATING: readonly Role[] = [Role.MODERATOR, Role.LEAD_MODERATOR, Role.IDOL, Role.SERVER];

/** Whether a role moderates. Whoever does is always shown, and writes in a muted chat. */
export function moderates(role: Role): boolean {
  return MODERATING.includes(role);
}

/** Whether `actor` may time out or ban somebody of `role`, as the server decides it: bots and all who do not moderate. */
export function maySanction(actor: Role, role: Role): boolean {
  if (!moderates(actor)) return false;
  return !moderates(role) || actor === Role.IDOL || actor === Role.SERVER || MODERATING.indexOf(role) < MODERATING.indexOf(actor);
}
