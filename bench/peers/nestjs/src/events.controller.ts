// The controller of the original example. Only the interval comes from outside.
import { Controller, Sse } from "@nestjs/common";
import { interval, map } from "rxjs";

@Controller("events")
export class EventsController {
  @Sse("sse")
  sendEvents() {
    return interval(Number(process.env.INTERVAL_MS ?? 1000)).pipe(
      map((count: number) => ({
        data: `Message number: ${count}`,
      }))
    );
  }
}
