import { z } from "zod";

// The schemas would compile themselves, which the page's policy forbids; they ask when they are
// made. So this module stands before all others.
z.config({ jitless: true });
