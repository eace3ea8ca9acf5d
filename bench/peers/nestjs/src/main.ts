// Serves the controller until the process ends, on the port in PORT or else on any free port.
import "reflect-metadata";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { EventsController } from "./events.controller.js";

@Module({ controllers: [EventsController] })
class EventsModule {}

const app = await NestFactory.create(EventsModule, { logger: ["error", "warn"] });
await app.listen(Number(process.env.PORT ?? 0), "127.0.0.1");
console.log(`listening on ${await app.getUrl()}/`);
